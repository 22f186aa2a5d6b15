"""Alert -> message. Rendering is pure; each target is one module."""
