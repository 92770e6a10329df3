"""stub"""
class DeepenPlan: pass
