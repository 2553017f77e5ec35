"""What a report shows beside recall: details of one survey, drawings, tables of figures."""
