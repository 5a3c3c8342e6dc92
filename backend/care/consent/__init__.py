"""What a participant agrees to, stream by stream, and how much of a dosing session others are shown."""
