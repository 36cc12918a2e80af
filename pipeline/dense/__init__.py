"""What all dense (one-stage) detectors share; a family supplies targets, a head, losses and a decoder."""
