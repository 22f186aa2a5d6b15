"""`sluice why`: one answer for one object, from the delivery to the Pod that blocks. See explain."""
