"""Where trials run: one backend a module. Import the module that holds the one you want; nothing is loaded here.

`local` is the backend of this machine; `keeper`, `supervisor`, `launching`, `capture` and `processes` are the program that it starts.
"""
