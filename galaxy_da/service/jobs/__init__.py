"""Jobs: verbs of the command line that clients start; queued on disk, run in processes."""
