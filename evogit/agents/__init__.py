"""Workers that carry a plan out by editing files, one a file or folder. They never import git or a stage."""
