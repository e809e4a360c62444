"""Sample efficiency by experiment: data, variants of training, their comparison, and the pages that say what won."""
