"""What shows the lab to a room: stepping through a scenario, watching an account, recording."""
