"""Human studies: does a drawn picture lead a person to the top-activating patches of its concept?"""
