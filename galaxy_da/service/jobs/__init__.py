"""Jobs: verbs of the command line that clients start, queued on disk and run in processes."""
