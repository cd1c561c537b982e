"""The program: commands, recipe, stages, runs and reports. The only folder that imports the others."""
