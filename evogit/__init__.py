"""evogit: git-native evolution of machine-learning code.

The public Python door is `evogit.lab.Lab`. Nothing is imported here, so that `import evogit` costs nothing.
"""

__version__ = "0.1.0"
