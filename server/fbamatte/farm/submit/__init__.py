"""Jobs for farms: one module a farm, each turns a `Submission` into files that the farm takes."""
