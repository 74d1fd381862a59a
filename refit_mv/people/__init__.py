"""Who is who: from detections to persons with evidence of their own."""
