"""The demo cast: seven people in two clinics, for trying the product out on one machine."""
