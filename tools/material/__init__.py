"""Materials for the tests and the demonstration: how each is downloaded, checked and laid out. One module each."""
