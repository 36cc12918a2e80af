"""What all dense (one-stage) detectors share: a family gives targets, a head, losses and a decoder."""
