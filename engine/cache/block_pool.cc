namespace longhaul {}
