"""Reading labelled data from arrays, files, folders and functions."""
