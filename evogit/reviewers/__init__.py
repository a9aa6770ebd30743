"""Those who interpret a run, one a file. They are shown a `ReviewBrief` and nothing else."""
