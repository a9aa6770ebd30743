"""Where trials run: one backend a module. Import the module that holds the one you want; nothing is loaded here.

`local` is the backend of this machine; `keeper`, `supervisor`, `launching`, `capture` and `processes` are the program that it starts. A
backend that ships its jobs makes an `order`, has it carried out by an `outpost`, and takes home (`homing`) what came of it; a service that
may not answer is asked by a thread (`turns.Asking`). `slurm` and the modules of that name beside it run jobs on nodes that share this file
system: `slurm_node` is what Slurm starts there.
"""
