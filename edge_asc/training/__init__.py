"""Training of the classifiers: recipe, augmentation, loop."""
