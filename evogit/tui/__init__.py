"""`evogit tui`: a campaign on a full screen, to watch and to steer. It shows and asks; the lab reads, and the loop's inbox takes what is asked.

app           what is true now, and where messages go      reader    the one thread that knows the lab; it knows no screen
book          runs as a screen needs them                  letters   a letter and an ink for everything that is told apart
widgets/      know nouns, never the lab                    screens/  five of them, and dialogs
"""
