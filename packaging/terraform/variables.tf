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
  description = "The bootstrap file's variables, except HOSTNAME: each instance's is SERVER_ROLE and its id. No secrets: whoever may describe launch templates reads them."
  validation {
    condition     = length(setintersection(keys(var.bootstrap), ["HOSTNAME", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])) == 0
    error_message = "HOSTNAME is made for each instance, and an instance with a role needs no keys."
  }
  validation {
    # User data is a Jinja template, for the instance's id.
    condition     = !anytrue([for value in values(var.bootstrap) : can(regex("[{][{%#]|\n", value))])
    error_message = "No value may hold a line end or what Jinja would read: {{, {%, {#."
  }
  validation {
    condition     = alltrue([for key in keys(var.bootstrap) : can(regex("^[A-Za-z_][A-Za-z0-9_]*$", key))])
    error_message = "Names are letters, digits and _."
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
  description = "Seconds that an instance has to be verified, before it is given up: heartbeats begin them again."
  default     = 900
}

variable "refresh_min_healthy_percentage" {
  type        = number
  description = "How much of the group stays in service while a change of the launch template is rolled out."
  default     = 90
}
