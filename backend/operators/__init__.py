"""Pages for those who keep the machine running: what is there, when and how much of it; no words."""
