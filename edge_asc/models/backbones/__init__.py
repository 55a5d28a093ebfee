"""Backbones: one module each, which holds a `Backbone` descriptor under the name BACKBONE."""
