"""What is out there: catalogues, crossmatching, sky splits and the simulated sky."""
