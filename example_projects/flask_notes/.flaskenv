# Read by the flask command when python-dotenv is installed; without it: export FLASK_APP=notes
FLASK_APP=notes
