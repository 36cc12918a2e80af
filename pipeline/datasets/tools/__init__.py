"""Readers of annotation tools' own files: LabelMe, CVAT, Label Studio, VoTT, OpenImages."""
