"""What single faults and worst cases do, without drawing."""
