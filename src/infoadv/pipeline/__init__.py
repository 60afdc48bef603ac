"""What the workflow asks of a checked configuration: files, code inputs, memory and time, the state of a run. No torch here."""
