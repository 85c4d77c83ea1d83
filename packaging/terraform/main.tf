# A fleet of one role: who the instances are, how they start, and how a change reaches them.

data "aws_partition" "current" {}
data "aws_caller_identity" "current" {}

locals {
  hook = "delphi-agent"
  bootstrap = merge(var.bootstrap, {
    HOSTNAME = "${var.bootstrap["SERVER_ROLE"]}-{{ v1.instance_id }}"
    # The agent answers the hook: CONTINUE when all is verified, ABANDON when it failed.
    SIGNAL_ASG = local.hook
  })
  # As bash reads it: in single quotes, and a quote of the value outside of them.
  bootstrap_file = join("", [
    for name, value in local.bootstrap : "${name}='${replace(value, "'", "'\\''")}'\n"
  ])
  # JSON is YAML, so no value breaks out of its place. Why it is so: packaging/cloud-init/ec2.yaml.
  user_data = join("\n", ["## template: jinja", "#cloud-config", jsonencode({
    write_files = [
      { path = "/opt/deployment/.env", owner = "root:root", permissions = "0600", content = local.bootstrap_file }
    ]
    runcmd = [["delphi-agent", "init"]]
  })])
  tags = merge(var.tags, { Name = var.name })
}

resource "aws_iam_role" "this" {
  name = var.name
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.${data.aws_partition.current.dns_suffix}" }
    }]
  })
  tags = var.tags
}

resource "aws_iam_role_policy" "delphi" {
  name   = "delphi-agent"
  role   = aws_iam_role.this.id
  policy = var.iam_policy
}

# To answer the launch hook, and none of another group.
resource "aws_iam_role_policy" "lifecycle" {
  name = "launch-hook"
  role = aws_iam_role.this.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid    = "AnswerTheLaunchHook"
      Effect = "Allow"
      Action = ["autoscaling:CompleteLifecycleAction", "autoscaling:RecordLifecycleActionHeartbeat"]
      Resource = join(":", [
        "arn", data.aws_partition.current.partition, "autoscaling", var.bootstrap["AWS_REGION"],
        data.aws_caller_identity.current.account_id, "autoScalingGroup:*:autoScalingGroupName/${var.name}",
      ])
      }, {
      # These two know no resources.
      Sid      = "FindTheLaunchHook"
      Effect   = "Allow"
      Action   = ["autoscaling:DescribeAutoScalingInstances", "autoscaling:DescribeLifecycleHooks"]
      Resource = "*"
    }]
  })
}

resource "aws_iam_instance_profile" "this" {
  name = var.name
  role = aws_iam_role.this.name
  tags = var.tags
}

resource "aws_launch_template" "this" {
  name                   = var.name
  image_id               = var.image_id
  instance_type          = var.instance_type
  vpc_security_group_ids = var.security_group_ids
  user_data              = base64encode(local.user_data)
  update_default_version = true

  iam_instance_profile {
    arn = aws_iam_instance_profile.this.arn
  }

  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
    # 2, so that containers with a bridge of their own get an answer; with 1 they get none.
    http_put_response_hop_limit = 2
    instance_metadata_tags      = "enabled"
  }

  dynamic "tag_specifications" {
    for_each = ["instance", "volume"]
    content {
      resource_type = tag_specifications.value
      tags          = local.tags
    }
  }

  tags = var.tags
}

resource "aws_autoscaling_group" "this" {
  name                = var.name
  min_size            = var.size.min
  max_size            = var.size.max
  vpc_zone_identifier = var.subnet_ids
  # Nothing to wait for here: the hook says when an instance is in service.
  wait_for_capacity_timeout = "0"

  launch_template {
    id      = aws_launch_template.this.id
    version = aws_launch_template.this.latest_version
  }

  # In the group from its first instance on; as a resource of its own it would come after them.
  initial_lifecycle_hook {
    name                 = local.hook
    lifecycle_transition = "autoscaling:EC2_INSTANCE_LAUNCHING"
    heartbeat_timeout    = var.boot_timeout
    default_result       = "ABANDON"
  }

  # A change of the launch template goes through the group by itself, and back where instances do not get well.
  instance_refresh {
    strategy = "Rolling"
    preferences {
      min_healthy_percentage = var.refresh_min_healthy_percentage
      auto_rollback          = true
    }
  }
}
