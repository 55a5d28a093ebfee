"""Jobs on another machine, over anything that runs commands there and copies files."""
