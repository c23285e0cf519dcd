"""Training: losses, samples, recipes and one visible loop."""
