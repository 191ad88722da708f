"""Development: tells the arbiter when a file of the application has changed."""
