"""What is drawn: each knows nouns and never the lab; what a person wants goes up as a message."""
