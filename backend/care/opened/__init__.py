"""Who opened whose data, when and why; and opening it in an emergency."""
