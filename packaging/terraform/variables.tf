variable "name" {
  type        = string
  description = "Name of everything that is made here, such as delphi-prod-api."
}

variable "iam_policy" {
  type        = string
  description = "The policy of the role, as `delphi-agent doctor --iam-policy` prints it: file(\"policy.json\")."
  validation {
    condition     = can(jsondecode(var.iam_policy).Statement)
    error_message = "It must be the JSON document that `delphi-agent doctor --iam-policy` prints."
  }
}

variable "bootstrap" {
  type        = map(string)
  description = "The bootstrap file. No secrets: whoever may describe launch templates reads them."
  validation {
    condition = length(setsubtract([
      "ENVIRONMENT", "SERVER_ROLE", "ECR_REGISTRY", "ECR_TAG", "CONFIG_BUCKET", "CONFIG_REF", "NAMESPACE", "AWS_REGION",
    ], keys(var.bootstrap))) == 0
    error_message = "A variable is missing that every bootstrap file has."
  }
  validation {
    condition = length(setintersection([
      "HOSTNAME", "SIGNAL_ASG", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    ], keys(var.bootstrap))) == 0
    error_message = "HOSTNAME and SIGNAL_ASG are set by this module, and an instance with a role needs no keys."
  }
  validation {
    condition     = alltrue([for name in keys(var.bootstrap) : can(regex("^[A-Za-z_][A-Za-z0-9_]*$", name))])
    error_message = "Names are letters, digits and _."
  }
  validation {
    # User data is a Jinja template, for the instance's id.
    condition     = alltrue([for value in values(var.bootstrap) : !can(regex("[{][{%#]|[\r\n]", value))])
    error_message = "No value may hold a line end, or what Jinja reads: {{, {%, {#."
  }
}

variable "image_id" {
  type        = string
  description = "The AMI, with the agent in it (packaging/packer)."
}

variable "instance_type" {
  type        = string
  description = "Type of the instances."
  default     = "t3.small"
}

variable "subnet_ids" {
  type        = list(string)
  description = "Where instances are started."
}

variable "security_group_ids" {
  type        = list(string)
  description = "The instances' security groups."
}

variable "size" {
  type        = object({ min = number, max = number })
  description = "How many instances there are, at least and at most."
  default     = { min = 1, max = 2 }
}

variable "tags" {
  type        = map(string)
  description = "Tags of everything, instances and volumes among it."
  default     = {}
}

variable "boot_timeout" {
  type        = number
  description = "Seconds without a word of the agent after which an instance that starts is given up."
  default     = 900
}

variable "refresh_min_healthy_percentage" {
  type        = number
  description = "How much of the group stays in service while a change of the launch template is rolled out."
  default     = 90
}
