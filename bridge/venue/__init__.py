"""The paper book as a broker of its own behind HTTP: a sandbox to rehearse with, and to break on purpose."""
