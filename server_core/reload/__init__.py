"""Development: tells the arbiter when a file of the application has changed, and stands in for code that is broken."""
