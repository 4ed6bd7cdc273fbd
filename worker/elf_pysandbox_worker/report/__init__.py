"""What a worker reports, as frames: exceptions as data (`failure`) and output as it is written (`stream`)."""
