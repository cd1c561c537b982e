"""How many channels each group of a network keeps. Works on any network by functions that the caller gives, without
torch."""
