"""How good a model is: metrics, data sets, a procedural test set, runs, tables and reports."""
