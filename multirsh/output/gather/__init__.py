"""Output that is shown together: kept within bounds, compared, and written when its time has come."""
