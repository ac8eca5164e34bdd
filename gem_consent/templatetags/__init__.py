"""What ``{% load gem_consent %}`` finds; Django is imported in here, and nowhere else in the package."""
