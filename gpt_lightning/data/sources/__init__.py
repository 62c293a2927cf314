"""Sources: files and hub datasets as rows and texts that know where they came from."""
