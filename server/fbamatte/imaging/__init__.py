"""Files and colour: EXR and other pictures, sequences, OpenColorIO, what comes back."""
