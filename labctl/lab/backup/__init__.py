"""A lab in one file: taken while its mail stands still, checked before anything is made of it."""
