"""The best student for a device's budget, out of one or several families, and a package of it."""
