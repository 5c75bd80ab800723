"""Models as data: parameters, their names and traits, and the registry of the frameworks that describe models."""
