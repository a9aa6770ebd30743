"""Where trials run: one backend a module. Import the module that holds the one you want; nothing is loaded here.

`local` is the backend of this machine; `keeper`, `supervisor`, `launching`, `capture` and `processes` are the program that it starts. A
backend that ships its jobs makes an `order`, has it carried out by an `outpost`, and takes home (`homing`) what came of it.
"""
